//! How far a verb is: a bar on a terminal, a line now and then in a log.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::gan;

/// Between two lines where standard error is no terminal, as in a batch job.
const EVERY: Duration = Duration::from_mins(1);

/// Progress on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Only where there is no terminal.
    lines: Option<Mutex<Lines>>,
}

impl Progress {
    /// Of so many things of a kind.
    pub(crate) fn new(count: usize, what: &'static str) -> Self {
        let lines = Lines::new(count as u64, what, Instant::now());
        Self {
            bar: gan::progress(count, what),
            lines: (!std::io::stderr().is_terminal()).then(|| Mutex::new(lines)),
        }
    }

    /// Starts at so many that an earlier run has done; time left counts from what is left to do.
    pub(crate) fn start_at(&self, done: u64) {
        self.bar.set_position(done);
        self.bar.reset_eta();
        self.with_lines(|lines| lines.from = done);
    }

    pub(crate) fn set_position(&self, done: u64) {
        self.bar.set_position(done);
        self.with_lines(|lines| say(lines.at(done, Instant::now())));
    }

    pub(crate) fn inc(&self) {
        self.bar.inc(1);
        self.set_position(self.bar.position());
    }

    /// Beside the bar, or in the lines.
    pub(crate) fn set_message(&self, message: String) {
        self.with_lines(|lines| lines.message.clone_from(&message));
        self.bar.set_message(message);
    }

    /// With the bar out of the way.
    pub(crate) fn suspend(&self, f: impl FnOnce()) {
        self.bar.suspend(f);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn with_lines(&self, f: impl FnOnce(&mut Lines)) {
        if let Some(lines) = &self.lines {
            f(&mut lines.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn say(line: Option<String>) {
    if let Some(line) = line {
        // Without a standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// The lines of a log.
struct Lines {
    total: u64,
    message: String,
    begun: Instant,
    /// Done before it began.
    from: u64,
    last: Instant,
}

impl Lines {
    fn new(total: u64, what: &str, now: Instant) -> Self {
        Self {
            total,
            message: what.to_owned(),
            begun: now,
            from: 0,
            last: now,
        }
    }

    /// The line that is due, if one is.
    fn at(&mut self, done: u64, now: Instant) -> Option<String> {
        if now.saturating_duration_since(self.last) < EVERY {
            return None;
        }
        self.last = now;
        let elapsed = now.saturating_duration_since(self.begun).as_secs();
        let mut line = format!("{done}/{} {}, {}", self.total, self.message, time(elapsed));
        let made = done.saturating_sub(self.from);
        if made > 0 {
            let rest = u128::from(self.total.saturating_sub(done));
            let left = u128::from(elapsed) * rest / u128::from(made);
            line.push_str(", ");
            line.push_str(&time(u64::try_from(left).unwrap_or(u64::MAX)));
            line.push_str(" left");
        }
        Some(line)
    }
}

/// Seconds as hours and minutes.
fn time(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_tells_what_is_left() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut lines = Lines::new(1000, "photos", start);
        lines.from = 400;
        assert_eq!(lines.at(401, after(59)), None);
        // 100 in two minutes; 500 to go.
        let line = lines.at(500, after(120)).unwrap();
        assert_eq!(line, "500/1000 photos, 2 min, 10 min left");
        assert_eq!(lines.at(501, after(179)), None);
        lines.message = "steps, loss 0.5".to_owned();
        let line = lines.at(410, after(7200)).unwrap();
        assert_eq!(
            line,
            "410/1000 steps, loss 0.5, 2 h 0 min, 118 h 0 min left"
        );
        // Nothing made yet: no guess.
        let mut lines = Lines::new(8, "photos", start);
        assert_eq!(lines.at(0, after(61)).unwrap(), "0/8 photos, 2 min");
    }
}
