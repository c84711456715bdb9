use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::SystemTime;

use super::*;

/// A writer of numbered lines that rotates its log in every known way, on a clock of its own so that order is certain.
struct Writer {
    path: PathBuf,
    file: File,
    written: u64,
    clock: SystemTime,
    rotations: u64,
}

impl Writer {
    fn new(path: PathBuf) -> Self {
        let file = append(&path);
        let clock = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let mut writer = Self { path, file, written: 0, clock, rotations: 0 };
        writer.tick();
        writer
    }

    fn tick(&mut self) {
        self.clock += Duration::from_millis(1);
        self.file.set_modified(self.clock).unwrap();
    }

    fn line(&self) -> String {
        format!("{} {}\n", self.written, "x".repeat((self.written % 90) as usize))
    }

    fn write(&mut self, lines: u64) {
        for _ in 0..lines {
            let line = self.line();
            self.file.write_all(line.as_bytes()).unwrap();
            self.written += 1;
        }
        self.tick();
    }

    fn write_in_two(&mut self, between: &mut dyn FnMut()) {
        let line = self.line();
        let (one, two) = line.split_at(line.len() / 2);
        self.file.write_all(one.as_bytes()).unwrap();
        self.tick();
        between();
        self.file.write_all(two.as_bytes()).unwrap();
        self.written += 1;
        self.tick();
    }

    fn numbered(&mut self) -> PathBuf {
        self.rotations += 1;
        PathBuf::from(format!("{}.{}", self.path.display(), self.rotations))
    }

    fn rename(&mut self) {
        let to = self.numbered();
        fs::rename(&self.path, to).unwrap();
        self.file = append(&self.path);
        self.tick();
    }

    fn copy_and_truncate(&mut self) {
        self.copy_and_truncate_after(&mut || {});
    }

    fn copy_and_truncate_after(&mut self, between: &mut dyn FnMut()) {
        let to = self.numbered();
        fs::copy(&self.path, &to).unwrap();
        self.tick();
        File::options().write(true).open(&to).unwrap().set_modified(self.clock).unwrap();
        between();
        self.file.set_len(0).unwrap();
        self.tick();
    }

    fn delete(&mut self) {
        fs::remove_file(&self.path).unwrap();
        self.file = append(&self.path);
        self.tick();
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

struct Reader {
    tail: Tail,
    buffer: Vec<u8>,
    now: Instant,
    got: Vec<String>,
}

impl Reader {
    fn new(path: &Path, resume: Option<Position>) -> Self {
        let tail = Tail::new(path.to_owned(), resume);
        let mut reader = Self { tail, buffer: vec![0; BUFFER_BYTES], now: Instant::now(), got: Vec::new() };
        reader.read_all();
        reader
    }

    /// One poll, whether there is more or not.
    fn look(&mut self) {
        let got = &mut self.got;
        self.tail.poll(self.now, &mut self.buffer, &mut |line| got.push(String::from_utf8_lossy(line).into_owned()));
    }

    fn read_all(&mut self) {
        let got = &mut self.got;
        let mut take = |line: &[u8]| got.push(String::from_utf8_lossy(line).into_owned());
        let mut polls = 0;
        while self.tail.poll(self.now, &mut self.buffer, &mut take) {
            polls += 1;
            assert!(polls < 10_000, "poll never comes to an end");
        }
    }

    fn restart(&mut self) {
        self.tail = Tail::new(self.tail.path().to_owned(), Some(self.tail.position()));
    }

    fn numbers(&self) -> Vec<u64> {
        self.got.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

fn story(seed: u64, rotate: fn(&mut Writer, u64), pauses: bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut writer = Writer::new(path.clone());
    let mut reader = Reader::new(&path, None);
    let mut random = Random(seed);
    for _ in 0..400 {
        match random.below(6) {
            0 => {
                if !pauses {
                    reader.read_all();
                }
                rotate(&mut writer, random.below(4));
            }
            1 => writer.write_in_two(&mut || reader.read_all()),
            2 if random.below(4) == 0 => reader.restart(),
            3 => {
                reader.now += Duration::from_millis(random.below(4_000));
                reader.read_all();
            }
            _ => writer.write(1 + random.below(20)),
        }
    }
    writer.write(3);
    reader.read_all();
    let got = reader.numbers();
    let wrong = (0..writer.written).zip(&got).find(|(expected, got)| expected != *got);
    assert_eq!((wrong, got.len() as u64), (None, writer.written), "seed {seed}, {:?}", reader.tail.counts());
}

#[test]
fn renamed_logs_lose_nothing_while_the_reader_pauses_and_restarts() {
    (1..=10).for_each(|seed| story(seed, |writer, _| writer.rename(), true));
}

#[test]
fn copied_and_truncated_logs_lose_nothing_while_the_reader_pauses_and_restarts() {
    fn rotate(writer: &mut Writer, _: u64) {
        // An empty log is not rotated (logrotate's notifempty): its copies would be told apart by nothing.
        if writer.file.metadata().unwrap().len() >= 64 {
            writer.copy_and_truncate();
        }
    }
    (1..=10).for_each(|seed| story(seed, rotate, true));
}

#[test]
fn a_log_copied_away_between_any_two_looks_loses_nothing() {
    for looks in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let mut writer = Writer::new(path.clone());
        let mut reader = Reader::new(&path, None);
        for lines in [20, 3] {
            writer.write(lines);
            reader.look();
        }
        for _ in 0..3 {
            writer.copy_and_truncate();
            writer.write(20);
            (0..looks).for_each(|_| reader.look());
            writer.copy_and_truncate_after(&mut || (0..looks).for_each(|_| reader.look()));
            writer.write(20);
        }
        reader.read_all();
        assert_eq!(reader.numbers(), (0..writer.written).collect::<Vec<_>>(), "{looks} looks");
    }
}

#[test]
fn logs_rotated_now_so_now_so_lose_nothing() {
    fn rotate(writer: &mut Writer, how: u64) {
        match how {
            0 if writer.file.metadata().unwrap().len() >= 64 => writer.copy_and_truncate(),
            1 => writer.delete(),
            _ => writer.rename(),
        }
    }
    (1..=10).for_each(|seed| story(seed, rotate, false));
}

#[test]
fn a_link_that_is_swapped_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("current");
    let target = |number: u64| dir.path().join(format!("app-{number}.log"));
    symlink(target(0), &link).unwrap();
    let mut writer = Writer::new(target(0));
    let mut reader = Reader::new(&link, None);
    let mut random = Random(7);
    for swap in 1..200 {
        writer.write(random.below(5));
        fs::remove_file(&link).unwrap();
        writer.file = append(&target(swap));
        symlink(target(swap), &link).unwrap();
        writer.write(1 + random.below(5));
        if random.below(3) == 0 {
            reader.now += Duration::from_secs(1);
            reader.read_all();
        }
    }
    reader.read_all();
    assert_eq!(reader.numbers(), (0..writer.written).collect::<Vec<_>>());
}

#[test]
fn late_lines_of_a_writer_that_has_not_reopened_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut old = append(&path);
    let mut reader = Reader::new(&path, None);
    old.write_all(b"before\n").unwrap();
    fs::rename(&path, dir.path().join("access.log.1")).unwrap();
    append(&path).write_all(b"after\n").unwrap();
    reader.read_all();
    reader.now += LINGER / 2;
    old.write_all(b"late\nunfinished").unwrap();
    reader.read_all();
    reader.now += LINGER * 2;
    reader.read_all();
    assert_eq!(reader.got, ["before", "after", "late", "unfinished"]);
    reader.restart();
    reader.read_all();
    assert_eq!(reader.got.len(), 4, "nothing twice after a restart");
}

#[test]
fn a_log_seen_first_is_read_from_its_end_and_one_that_comes_later_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("error.log");
    append(&path).write_all(b"old line\nold half").unwrap();
    let mut reader = Reader::new(&path, None);
    append(&path).write_all(b" rest\nnew\r\n").unwrap();
    reader.read_all();
    assert_eq!(reader.got, ["new"]);

    let missing = dir.path().join("later.log");
    let mut reader = Reader::new(&missing, None);
    assert_eq!(reader.tail.sight(), &Sight::Missing);
    append(&missing).write_all(b"first\n").unwrap();
    reader.read_all();
    assert_eq!((reader.got.as_slice(), reader.tail.sight()), (["first".to_owned()].as_slice(), &Sight::Following));
}

#[test]
fn a_new_file_with_the_number_of_the_old_one_is_read_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    append(&path).write_all(b"what stood in the old file\n").unwrap();
    let reader = Reader::new(&path, None);
    let mut position = reader.tail.position();
    drop(reader);
    // The same inode can't be had at will: the saved position is bent to it instead.
    fs::remove_file(&path).unwrap();
    append(&path).write_all(b"what stands in the new file, longer than the old one\n").unwrap();
    position.files[0].inode = fs::metadata(&path).unwrap().ino();
    let reader = Reader::new(&path, Some(position));
    assert_eq!(reader.got, ["what stands in the new file, longer than the old one"]);
    assert_eq!(reader.tail.counts().lost_files, 1);
}

#[test]
fn a_hole_after_truncation_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut file = File::create(&path).unwrap();
    let mut reader = Reader::new(&path, None);
    for line in 0..20_000 {
        writeln!(file, "{line} of the first stretch").unwrap();
    }
    reader.read_all();
    // This writer keeps its own offset, so the file gets a hole of NUL bytes.
    file.set_len(0).unwrap();
    writeln!(file, "20000 after the hole").unwrap();
    reader.read_all();
    file.set_len(0).unwrap();
    writeln!(file, "20001 after the second hole").unwrap();
    reader.read_all();
    assert_eq!(reader.numbers(), (0..=20_001).collect::<Vec<_>>());
    assert_eq!(reader.tail.counts().truncations, 1, "the second one is the first one's hole read on");
}

#[test]
fn lines_that_are_too_long_are_cut_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut file = append(&path);
    let mut reader = Reader::new(&path, None);
    for length in [MAX_LINE_BYTES, MAX_LINE_BYTES + 1, BUFFER_BYTES - 1, BUFFER_BYTES, 3 * BUFFER_BYTES, 10] {
        file.write_all(&vec![b'x'; length]).unwrap();
        reader.read_all();
        file.write_all(&vec![b'y'; 100_000]).unwrap();
        reader.read_all();
        file.write_all(b"\n").unwrap();
        reader.read_all();
    }
    file.write_all(b"short\n").unwrap();
    reader.read_all();
    let lengths: Vec<usize> = reader.got.iter().map(String::len).collect();
    assert_eq!(lengths, [[MAX_LINE_BYTES; 6].as_slice(), &[5]].concat());
    assert_eq!(reader.tail.counts().cut_lines, 6);
}

#[test]
fn what_is_no_regular_file_is_refused_and_never_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = Reader::new(&path, None);
    assert!(
        matches!(reader.tail.sight(), Sight::Unreadable(why) if why.contains("regular")),
        "{:?}",
        reader.tail.sight()
    );
}

#[test]
fn a_log_that_was_compressed_unread_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut writer = Writer::new(path.clone());
    let mut reader = Reader::new(&path, None);
    writer.write(10);
    writer.rename();
    writer.write(10);
    writer.rename();
    fs::rename(dir.path().join("access.log.2"), dir.path().join("access.log.2.gz")).unwrap();
    writer.write(1);
    reader.read_all();
    assert_eq!(reader.numbers(), (0..10).chain(20..21).collect::<Vec<_>>());
    assert_eq!(reader.tail.counts().lost_files, 1);
}

/// A group of files in a folder, and the lines that came of it by file name.
struct Several {
    dir: tempfile::TempDir,
    group: Group,
    now: Instant,
    got: Vec<String>,
}

impl Several {
    fn new(dir: tempfile::TempDir, pattern: &str, positions: &Positions) -> Self {
        let now = Instant::now();
        let group = Group::new(dir.path().join(pattern), positions, now);
        let mut several = Self { dir, group, now, got: Vec::new() };
        several.read(Duration::ZERO);
        several
    }

    fn read(&mut self, later: Duration) {
        self.now += later;
        let Self { group, got, .. } = self;
        let mut take = |path: &Path, line: &[u8]| {
            got.push(format!("{} {}", path.file_name().unwrap().display(), String::from_utf8_lossy(line)));
        };
        let mut buffer = vec![0; BUFFER_BYTES];
        while group.poll(self.now, &mut buffer, &mut take) {}
    }

    fn write(&self, name: &str, text: &str) {
        append(&self.dir.path().join(name)).write_all(text.as_bytes()).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let name = |(path, _): (&Path, &Sight)| path.file_name().unwrap().to_string_lossy().into_owned();
        self.group.sights().map(name).collect()
    }
}

/// The positions of an agent that has read nothing yet.
fn nowhere_read() -> Positions {
    Positions::load(tempfile::tempdir().unwrap().path()).0
}

/// Longer than the agent looks for new files.
const LOOK: Duration = Duration::from_secs(3);

#[test]
fn a_pattern_takes_up_new_files_and_leaves_rotated_ones_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.log", "a.log.1", "a.log.2.gz", "b.log.gz"] {
        fs::write(dir.path().join(name), "before\n").unwrap();
    }
    let mut logs = Several::new(dir, "*.log*", &nowhere_read());
    assert_eq!(logs.names(), ["a.log"]);
    logs.write("a.log", "one\n");
    logs.write("b.log", "first of all\n");
    logs.read(LOOK);
    assert_eq!(logs.got, ["a.log one", "b.log first of all"], "what stood there before is not read, what comes is");
    fs::remove_file(logs.dir.path().join("b.log")).unwrap();
    let places = logs.group.positions();
    assert_eq!(logs.group.mark(places).len(), 2);
    logs.read(LINGER * 2);
    logs.read(Duration::from_secs(100));
    logs.read(LOOK);
    assert_eq!(logs.names(), ["a.log"]);
    let forgotten = logs.group.mark(Vec::new());
    assert!(forgotten.len() == 1 && forgotten[0].log.ends_with("b.log") && forgotten[0].position.files.is_empty());
}

#[test]
fn a_log_that_is_renamed_or_copied_within_its_pattern_is_not_read_twice() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("app.log"), "").unwrap();
    let mut logs = Several::new(dir, "*.log", &nowhere_read());
    let line = |number: u64| format!("{number} {}\n", "x".repeat(200));
    (0..3).for_each(|number| logs.write("app.log", &line(number)));
    logs.read(LOOK);
    let folder = logs.dir.path().to_owned();
    let path = |name: &str| folder.join(name);
    fs::rename(path("app.log"), path("app-2026.log")).unwrap();
    logs.write("app.log", &line(3));
    logs.read(LOOK);
    (4..7).for_each(|number| logs.write("app.log", &line(number)));
    logs.read(LOOK);
    fs::copy(path("app.log"), path("app-2027.log")).unwrap();
    logs.read(LOOK);
    File::options().write(true).open(path("app.log")).unwrap().set_len(0).unwrap();
    logs.read(LOOK);
    logs.write("app.log", &line(7));
    logs.read(LOOK);
    let numbers: Vec<u64> = logs.got.iter().map(|got| got.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    assert_eq!(logs.names(), ["app.log"]);
}

#[test]
fn the_files_of_a_pattern_are_taken_up_where_they_were_left() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.log"), "before\n").unwrap();
    let (mut positions, _) = Positions::load(&dir.path().join("state"));
    let mut logs = Several::new(dir, "*.log", &positions);
    logs.write("a.log", "one\n");
    logs.read(LOOK);
    let places = logs.group.positions();
    logs.group.mark(places).into_iter().for_each(|mark| positions.set(mark));
    logs.write("a.log", "two\n");
    let mut again = Several::new(logs.dir, "*.log", &positions);
    again.read(LOOK);
    assert_eq!(again.got, ["a.log two"]);
}
