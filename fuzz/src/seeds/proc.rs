//! What stands under `/proc`: one text for each parser.

use whyslow_sampler::fuzzing::PROC;

// Without its beginning and its state, which are the kernel's.
const STAT: &str = "a (b) c) 30915 30915 3847 0 -1 4194304 98 0 0 0 3 4 0 0 20 0 2 0 \
    539650 3133440 384 18446744073709551615 94666137260032 94666137279913 140734853734992 0 0 0 \
    0 0 0 1 0 0 17 0 0 0 0 0 0 94666137295920 94666137297536 94666549952512 140734853737142 \
    140734853737162 140734853737162 140734853738475 0\n";

const MAPS: &str = "\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/program\n\
00e03000-00e24000 rw-p 00000000 00:00 0           [heap]\n\
7f0000000000-7f0000001000 r-xp 00001000 08:02 9   /usr/lib/x.so (deleted)\n\
7fffb2c0d000-7fffb2c2e000 rw-p 00000000 00:00 0   [stack]\n\
7fffb2d48000-7fffb2d49000 r-xp 00000000 00:00 0   [vdso]\n";

const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
    uid  timeout inode\n   0: 0100007F:07E8 00000000:0000 0A 00000000:00000000 00:00000000 \
    00000000     0        0 1061 1 00000000e9a08040 100 0 0 10 0\n";

const UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
    uid  timeout inode ref pointer drops\n  17: 0100007F:0035 00000000:0000 07 00000000:00000000 \
    00:00000000 00000000     0        0 1062 2 00000000e9a08040 0\n";

const UNIX: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n\
    000000007c4a91d5: 00000003 00000000 00000000 0001 03  1057\n\
    00000000445c4975: 00000002 00000000 00010000 0001 01  1058 /run/socket\n";

const KALLSYMS: &str = "ffffffff81000000 T _stext\nffffffff812a4b10 T __x64_sys_read\n\
    ffffffffc0001000 t helper\t[module]\n";

/// Header; a tracepoint and a structure with one member; names.
const BTF: &[u8] = b"\x9f\xeb\x01\0\x18\0\0\0\0\0\0\0$\0\0\0$\0\0\0(\0\0\0\
    \x01\0\0\0\0\0\0\x08\x01\0\0\0\x18\0\0\0\x01\0\0\x04\x08\0\0\0$\0\0\0\x01\0\0\0@\0\0\0\
    \0btf_trace_sched_switch\0task_struct\0pid\0";

/// Inputs for each parser, behind the number of the parser.
pub(crate) fn texts() -> Vec<Vec<u8>> {
    let of = |(number, (name, _)): (u8, &(&str, _))| {
        texts_of(name).into_iter().map(move |text| [&[number], text].concat())
    };
    (0u8..).zip(PROC).flat_map(of).collect()
}

/// The kernel's own functions, and one of a module.
pub(crate) fn kallsyms() -> Vec<Vec<u8>> {
    vec![KALLSYMS.as_bytes().to_vec()]
}

fn texts_of(name: &str) -> Vec<&'static [u8]> {
    match name {
        // The other forms of it.
        "syscall" => vec![text(name), b"-1 0x7ffe1 0x7f0002\n", b"running\n"],
        _ => vec![text(name)],
    }
}

fn text(name: &str) -> &'static [u8] {
    match name {
        "stat" => STAT.as_bytes(),
        "schedstat" => b"55249 8909 1\n",
        "syscall" => b"0 0x3 0x7ffe 0x1000 0x0 0x0 0x0 0x7ffe1 0x7f0002\n",
        "maps" => MAPS.as_bytes(),
        "net/tcp" => TCP.as_bytes(),
        "net/udp" => UDP.as_bytes(),
        "net/unix" => UNIX.as_bytes(),
        "cpu list" => b"0-3,8,10-11\n",
        "fd" => b"socket:[1057]",
        "fdinfo" => b"pos:\t0\nflags:\t02\ntfd:        5 events:       19 data: 5 pos:0\n",
        "pollfd" => &[5, 0, 0, 0, 1, 0, 0, 0],
        "btf" => BTF,
        _ => panic!("no known input for {name}"),
    }
}
