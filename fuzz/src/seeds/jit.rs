//! What runtimes write for the code they compile.

/// As Node, Python, and a tool that writes `0x` do.
pub(crate) fn maps() -> Vec<Vec<u8>> {
    let node = "21512a2190a6 2a JS:~work /srv/program.js:1:42\n\
        7f0000001000 100 JS:*work file:///srv/program.js:1:42\n\
        7f0000001080 10 Builtin:ArrayMap\n";
    let python = "1000 b py::<module>:<string>\n100b b py::Shop.sell:/srv/shop.py\n";
    let other = "0x1000 0x20 void java.lang.Thread.run()\n\nnonsense\n1008 8 later\n1000 8 cut";
    [node, python, other].map(|text| text.as_bytes().to_vec()).into()
}

/// Code with lines, moved, and records we pass over; in both byte orders.
pub(crate) fn dumps() -> Vec<Vec<u8>> {
    let little = Order { word: u32::to_le_bytes, long: u64::to_le_bytes };
    let big = Order { word: u32::to_be_bytes, long: u64::to_be_bytes };
    [little, big].map(|order| order.file()).into()
}

struct Order {
    word: fn(u32) -> [u8; 4],
    long: fn(u64) -> [u8; 8],
}

impl Order {
    fn file(&self) -> Vec<u8> {
        // The magic number as it is written on a machine of this order.
        let header = [0x4a69_5444, 1, 40, 62, 0, 7, 0, 0, 0, 0];
        let mut file = self.words(&header);
        let lines =
            [self.longs(&[0x1000, 1, 0x1000]), self.words(&[7, 0]), b"/srv/program.js\0".to_vec()];
        let load = [self.longs(&[7, 0x1000, 0x1000, 4, 1]), b"work\0".to_vec(), vec![0x90; 4]];
        let shift = [self.longs(&[7, 0x7f00_0000_1000, 0x1000, 0x7f00_0000_1000, 4, 1])];
        let unwinding = [self.longs(&[8, 4, 8, 0])];
        file.extend(self.record(2, &lines.concat()));
        file.extend(self.record(0, &load.concat()));
        file.extend(self.record(1, &shift.concat()));
        file.extend(self.record(4, &unwinding.concat()));
        file.extend(self.record(3, &[]));
        file
    }

    fn record(&self, kind: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).expect("records are short");
        [self.words(&[kind, length]), self.longs(&[99]), body.to_vec()].concat()
    }

    fn words(&self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| (self.word)(*word)).collect()
    }

    fn longs(&self, longs: &[u64]) -> Vec<u8> {
        longs.iter().flat_map(|long| (self.long)(*long)).collect()
    }
}
