//! Work on a thread of its own: dfdx panics where a GPU refuses something, and that must end no more than the work.

use std::any::Any;

use super::loaded::backend;
use crate::engine::EngineError;

/// Runs `work` on a new thread of that name; a panic there is an error here.
///
/// The panic's own message is printed as well, as panics are.
pub(super) fn run_isolated<R: Send>(
    name: &str,
    work: impl FnOnce() -> Result<R, EngineError> + Send,
) -> Result<R, EngineError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_string()).spawn_scoped(scope, work).map_err(backend)?;
        thread.join().unwrap_or_else(|panic| Err(backend(format!("{name} gave up: {}", first_line(&*panic)))))
    })
}

fn first_line(panic: &(dyn Any + Send)) -> &str {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    said.and_then(|said| said.lines().next()).unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_errors_and_panics_come_back() {
        let values = [1, 2, 3];
        assert_eq!(run_isolated("a thread", || Ok(values.iter().sum::<i32>())).unwrap(), 6);

        let error = run_isolated("a thread", || Err::<(), _>(EngineError::Window { tokens: 1 })).unwrap_err();
        assert!(matches!(error, EngineError::Window { tokens: 1 }), "{error}");

        let refused: fn() -> Result<i32, &'static str> = || Err("out of memory\nand more");
        let error = run_isolated("dfdx on cuda:7", || Ok(refused().unwrap())).unwrap_err().to_string();
        assert!(error.starts_with("dfdx engine: dfdx on cuda:7 gave up: "), "{error}");
        assert!(error.contains("out of memory") && error.lines().count() == 1, "{error}");
    }
}
