//! Source code inside a log: the challenge's script prints itself before it starts, and nothing it says is evidence.
//!
//! A listing may be whole, packed, minified, cut, or what a shorter log written over an older one left of it; it may come
//! once for each run and each rank. It begins with a line that only a script has, and ends with a line of `=`, behind the
//! block of `if __name__ == ...`, or with the first line at the margin that is no Python.

use super::python_line::{
    OpenQuote, ends_like_code, is_banner, is_certain_log, is_code_at_margin, is_comment, is_fragment, quotes_after,
    rule_length, starts_script, without_mark,
};

/// Text kept of one listing, bytes: scripts have up to 200 kB.
const MAX_LISTING_BYTES: usize = 1 << 20;
/// Listings kept of one log; more are cut off all the same.
const MAX_LISTINGS: usize = 16;
/// Comments held back at the top of a log until it is clear whether a script follows.
const MAX_PENDING: usize = 400;
/// Lines of results a docstring may quote.
const MAX_QUOTED_LOG: usize = 60;
/// A docstring longer than this was never opened: the listing began inside of one.
const MAX_DOCSTRING_LINES: u32 = 400;
/// The line with which the challenge's script closes its listing.
const CLOSING_RULE: usize = 100;
/// Shorter lines of `=` close a listing as well.
const SHORT_RULE: usize = 40;

/// A piece of source code in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// 1-based first line.
    pub first: u64,
    /// 1-based last line.
    pub last: u64,
    /// The code, without blank lines; cut at a mebibyte.
    pub text: String,
    /// It starts as a script starts, not in the middle.
    pub has_head: bool,
    /// It ends as a script ends: closed by a line of `=`, or behind `if __name__ == ...`.
    pub has_end: bool,
}

/// Tells source code from log lines as they come.
#[derive(Debug, Default)]
pub(super) struct ListingCutter {
    open: Option<Open>,
    /// Comments that may turn out to be the head of a script.
    pending: Vec<(u64, String)>,
    /// Inside a traceback, whose quotations of code are no listing.
    in_traceback: bool,
    /// Lines of log since the top or the last line of `=`.
    since_rule: u32,
    done: Vec<Listing>,
}

#[derive(Debug)]
struct Open {
    listing: Listing,
    quote: OpenQuote,
    quoted_lines: u32,
    /// `if __name__ == ...` was seen: what is next at the margin is no longer the script.
    in_main: bool,
}

impl ListingCutter {
    /// Takes the next line; `log` is called for lines that are no source code, in order.
    pub fn take(&mut self, number: u64, line: &str, log: &mut dyn FnMut(u64, &str)) {
        let code = without_mark(line);
        let Some(open) = &mut self.open else { return self.outside(number, line, log) };
        match open.judge(code) {
            Judgement::Doubtful => self.pending.push((number, line.to_string())),
            _ if !self.pending.is_empty() && open.is_quoted_after(code) => {
                self.pending.push((number, line.to_string()))
            }
            Judgement::Inside => {
                for (number, line) in std::mem::take(&mut self.pending) {
                    open.add(number, without_mark(&line));
                }
                open.add(number, code);
            }
            Judgement::Closing => self.close(true, log),
            Judgement::Outside => {
                let ended = open.in_main;
                self.close(ended, log);
                self.outside(number, line, log);
            }
        }
        // The quotes that would make results a quotation do not come.
        if self.open.is_some() && self.pending.len() > MAX_QUOTED_LOG {
            self.close(false, log);
        }
    }

    /// No more lines; gives the listings.
    pub fn finish(&mut self, log: &mut dyn FnMut(u64, &str)) -> Vec<Listing> {
        if let Some(open) = &self.open {
            let ended = open.in_main;
            self.close(ended, log);
        }
        self.release(log);
        std::mem::take(&mut self.done)
    }

    fn outside(&mut self, number: u64, line: &str, log: &mut dyn FnMut(u64, &str)) {
        let code = without_mark(line);
        let at_margin = !code.starts_with([' ', '\t']);
        if quotes_code(code) {
            self.in_traceback = true;
        } else if at_margin {
            self.in_traceback = false;
        }
        let is_script = !self.in_traceback && (starts_script(code) || is_fragment(code));
        if is_script {
            self.begin(number, code);
            return;
        }
        // A licence or a title in comments, before the first statement.
        if self.since_rule < 3 && is_comment(code) && self.pending.len() < MAX_PENDING {
            self.pending.push((number, line.to_string()));
            return;
        }
        self.release(log);
        // The line at which a shorter log ends and the old one shows again may be half a statement.
        if ends_like_code(code) {
            self.pending.push((number, line.to_string()));
            return;
        }
        self.since_rule =
            if rule_length(code) >= SHORT_RULE || code.starts_with("===") { 0 } else { self.since_rule + 1 };
        log(number, line);
    }

    fn begin(&mut self, number: u64, code: &str) {
        let (first, head) = self.pending.first().map_or((number, code), |(first, line)| (*first, without_mark(line)));
        let has_head = head.starts_with('#') || starts_script(head) && !head.starts_with('@');
        let listing = Listing { first, last: number, text: String::new(), has_head, has_end: false };
        let mut open = Open { listing, quote: None, quoted_lines: 0, in_main: false };
        for (number, line) in std::mem::take(&mut self.pending) {
            open.add(number, without_mark(&line));
        }
        open.add(number, code);
        self.open = Some(open);
    }

    /// What was held back is log after all.
    fn release(&mut self, log: &mut dyn FnMut(u64, &str)) {
        for (number, line) in std::mem::take(&mut self.pending) {
            log(number, &line);
        }
    }

    fn close(&mut self, has_end: bool, log: &mut dyn FnMut(u64, &str)) {
        let Some(mut open) = self.open.take() else { return };
        let held_back = std::mem::take(&mut self.pending);
        open.listing.has_end = has_end && held_back.is_empty();
        self.since_rule = 0;
        if self.done.len() < MAX_LISTINGS {
            self.done.push(open.listing);
        }
        for (number, line) in held_back {
            self.outside(number, &line, log);
        }
    }
}

/// A line behind which Python's own messages quote code.
fn quotes_code(line: &str) -> bool {
    line.contains("Traceback (most recent call last)")
        || line.trim_start().starts_with("File \"")
        || line.contains(".py:") && line.contains("Warning:")
}

enum Judgement {
    Inside,
    /// A log line inside of quotes: a quotation if they are closed soon, else the listing was cut.
    Doubtful,
    /// The line that closes a listing, and belongs to it.
    Closing,
    Outside,
}

impl Open {
    fn judge(&self, code: &str) -> Judgement {
        let rule = rule_length(code);
        let is_quoted = self.quote.is_some();
        if rule >= CLOSING_RULE || (rule >= SHORT_RULE && !is_quoted) {
            return Judgement::Closing;
        }
        if is_certain_log(code) {
            return if is_quoted && !is_banner(code) { Judgement::Doubtful } else { Judgement::Outside };
        }
        if is_quoted || code.starts_with([' ', '\t']) {
            return Judgement::Inside;
        }
        let continues = !self.in_main && is_code_at_margin(code);
        if continues { Judgement::Inside } else { Judgement::Outside }
    }

    fn is_quoted_after(&self, code: &str) -> bool {
        quotes_after(code, self.quote).is_some()
    }

    fn add(&mut self, number: u64, code: &str) {
        self.in_main |= self.quote.is_none() && code.starts_with("if __name__");
        self.quote = quotes_after(code, self.quote);
        self.quoted_lines = if self.quote.is_some() { self.quoted_lines + 1 } else { 0 };
        if self.quoted_lines > MAX_DOCSTRING_LINES {
            (self.quote, self.quoted_lines) = (None, 0);
        }
        self.listing.last = number;
        let text = &mut self.listing.text;
        if text.len() + code.len() < MAX_LISTING_BYTES {
            text.push_str(code);
            text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests;
