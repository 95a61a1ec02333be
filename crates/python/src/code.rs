//! Code objects by their names: read once each, and kept for as long as the
//! same object lies at the same address.

use std::collections::HashMap;
use std::sync::Arc;

use crate::chain::Identity;
use crate::layout::Layout;
use crate::lines::Lines;
use crate::memory::{self, Memory, word};
use crate::text;
use crate::trouble::Trouble;
use crate::turn;

/// Code objects that are kept.
const KEPT: usize = 1 << 16;

/// Bytes of a line table that are read; honest ones are shorter.
const LONGEST_TABLE: u64 = 1 << 20;

/// A function, or another piece of code, as its code object names it.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Its name; with those around it, from 3.11 on.
    pub function: Arc<str>,
    /// The file it was compiled from.
    pub file: Arc<str>,
    /// Where its definition begins.
    pub first_line: u32,
    identity: Identity,
    lines: Lines,
    /// In the code of a turn of asyncio's loop: which local variable says since when.
    pub(crate) turn: Option<u64>,
}

impl Code {
    /// The line of the instruction at `byte`.
    pub(crate) fn line(&self, byte: i64) -> Option<u32> {
        self.lines.at(byte)
    }
}

/// The code objects seen so far.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    by_address: HashMap<u64, Arc<Code>>,
    /// Address of the type of code objects, once one was seen.
    kind: Option<u64>,
}

impl Codes {
    /// The code object that `identity` tells.
    pub(crate) fn get(
        &mut self,
        memory: &dyn Memory,
        layout: &Layout,
        identity: Identity,
    ) -> Result<Arc<Code>, Trouble> {
        if let Some(known) = self.by_address.get(&identity.address)
            && known.identity == identity
        {
            return Ok(known.clone());
        }
        self.check_kind(memory, layout, identity)?;
        let code = Arc::new(read(memory, layout, identity)?);
        if self.by_address.len() >= KEPT {
            self.by_address.clear();
        }
        self.by_address.insert(identity.address, code.clone());
        Ok(code)
    }

    /// Only a code object is read as one: the type is that of those before,
    /// or else has the name that it must have.
    fn check_kind(
        &mut self,
        memory: &dyn Memory,
        layout: &Layout,
        identity: Identity,
    ) -> Result<(), Trouble> {
        const NAME: &[u8] = b"code\0";
        let Some(kind) = self.kind else {
            let pointer = memory::bytes(memory, identity.kind.wrapping_add(layout.type_name), 8);
            let name =
                pointer.and_then(|at| memory::bytes(memory, word(&at, 0), NAME.len() as u64));
            if name.ok_or(Trouble::Unreadable(identity.kind))? != NAME {
                return Err(Trouble::Nonsense(identity.address));
            }
            self.kind = Some(identity.kind);
            return Ok(());
        };
        if kind == identity.kind { Ok(()) } else { Err(Trouble::Nonsense(identity.address)) }
    }
}

/// Reads a code object, and checks that it still is the same afterwards.
fn read(memory: &dyn Memory, layout: &Layout, identity: Identity) -> Result<Code, Trouble> {
    let Identity { address, first_line, name, .. } = identity;
    let object =
        || memory::bytes(memory, address, layout.code_span()).ok_or(Trouble::Unreadable(address));
    let bytes = object()?;
    let function = layout.code.qualified_name.map_or(name, |at| word(&bytes, at));
    let function = text::read(memory, layout, function)?;
    let file = text::read(memory, layout, word(&bytes, layout.code.file))?;
    let table = table(memory, layout, word(&bytes, layout.code.lines))?;
    let lines = Lines::decode(layout.code.line_format, &table, first_line);
    if Identity::decode(layout, address, &object()?) != identity {
        return Err(Trouble::Nonsense(address));
    }
    let turn = match turn::is_turn(&function, &file) {
        true => turn::variable(memory, layout, word(&bytes, layout.code.locals)),
        false => None,
    };
    Ok(Code { function: function.into(), file: file.into(), first_line, identity, lines, turn })
}

/// The `bytes` object at `address`.
fn table(memory: &dyn Memory, layout: &Layout, address: u64) -> Result<Vec<u8>, Trouble> {
    let unreadable = Trouble::Unreadable(address);
    let head = memory::bytes(memory, address, layout.size + 8).ok_or(unreadable)?;
    let length = word(&head, layout.size).min(LONGEST_TABLE);
    memory::bytes(memory, address.wrapping_add(layout.bytes), length).ok_or(unreadable)
}
