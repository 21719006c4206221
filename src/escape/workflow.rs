//! Workflow commands of GitHub Actions.
//!
//! Format: <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>, "Setting an error
//! message". Properties escape `%`, CR, LF, `:` and `,`; the message escapes the first three. Without that, a log line
//! quoted as evidence could start a command of its own.

/// The message of a command.
pub(crate) fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property.
pub(crate) fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
