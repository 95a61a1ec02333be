//! How the function table is sorted and cut.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use whyslow_analysis::{Column, Order};

/// Rows on the screen when no number is asked for.
const ROWS: usize = 20;

/// What is asked of the function table.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OrderArgs {
    /// Print the function table: time of each function alone (self) and with what
    /// it calls (total), by what passed it
    #[arg(long)]
    pub functions: bool,

    /// Sort the function table by a column, also in JSON; implies --functions.
    /// The columns without `total-` are parts of self
    #[arg(long, value_name = "KEY", value_parser = columns())]
    pub sort: Option<Column>,

    /// Rows of the function table, otherwise 20 and in JSON 500; the rest is summed
    /// up. Implies --functions
    #[arg(long, value_name = "N", value_parser = rows())]
    pub limit: Option<usize>,
}

impl OrderArgs {
    /// What the report is to hold.
    pub(crate) fn order(self) -> Order {
        let usual = Order::default();
        Order { by: self.sort.unwrap_or(usual.by), limit: self.limit.unwrap_or(usual.limit) }
    }

    /// Rows on the screen; `None` when the table is not wanted there.
    pub(crate) fn shown(self, verbose: bool) -> Option<usize> {
        let wanted = self.functions || self.sort.is_some() || self.limit.is_some();
        let usual = if verbose { usize::MAX } else { ROWS };
        wanted.then(|| self.limit.unwrap_or(usual))
    }
}

/// Every column under its name, and under the one `pstats` has for it.
fn columns() -> impl TypedValueParser<Value = Column> {
    let value = |column: Column| {
        let value = PossibleValue::new(column.key());
        match (column.total, column.side) {
            (false, None) => value.aliases(["tottime", "time"]),
            (true, None) => value.aliases(["cumtime", "cumulative"]),
            _ => value,
        }
    };
    let values: Vec<PossibleValue> = Column::all().into_iter().map(value).collect();
    PossibleValuesParser::new(values.clone()).map(move |name| {
        let place = values.iter().position(|value| value.matches(&name, false));
        place.map_or(Column::default(), |place| Column::all()[place])
    })
}

fn rows() -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u32).range(1..).map(|rows| usize::try_from(rows).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        order: OrderArgs,
    }

    fn parsed(args: &[&str]) -> Option<OrderArgs> {
        let all = ["test"].iter().chain(args);
        Only::try_parse_from(all).ok().map(|only| only.order)
    }

    #[test]
    fn every_column_sorts_and_the_names_of_pstats_are_known() {
        let sort = |key: &str| parsed(&["--sort", key]).and_then(|order| order.sort);
        for column in Column::all() {
            assert_eq!(sort(column.key()), Some(column));
        }
        let total = Column { total: true, side: None };
        assert_eq!(["tottime", "cumtime"].map(sort), [Some(Column::default()), Some(total)]);
        assert_eq!(sort("wait"), None);
    }

    #[test]
    fn the_table_is_on_the_screen_when_anything_of_it_was_asked() {
        let shown = |args: &[&str]| parsed(args).unwrap().shown(false);
        assert_eq!(shown(&[]), None);
        assert_eq!(shown(&["--functions"]), Some(ROWS));
        assert_eq!(shown(&["--sort", "gil"]), Some(ROWS));
        assert_eq!(shown(&["--limit", "3"]), Some(3));
        assert!(parsed(&["--limit", "0"]).is_none());
    }
}
