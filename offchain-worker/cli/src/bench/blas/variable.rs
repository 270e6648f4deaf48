//! Variables that a library reads when it is loaded.

use std::ffi::OsString;

/// A variable of this process that is as it was before once this is dropped, so that processes
/// started later do not inherit it.
pub struct Variable {
    name: &'static str,
    before: Option<OsString>,
}

impl Variable {
    /// Sets it.
    pub fn set(name: &'static str, value: &str) -> Variable {
        let before = std::env::var_os(name);
        std::env::set_var(name, value);
        Variable { name, before }
    }

    /// Sets it unless somebody else has.
    pub fn prefer(name: &'static str, value: &str) -> Option<Variable> {
        let free = std::env::var_os(name).is_none();
        free.then(|| Variable::set(name, value))
    }
}

impl Drop for Variable {
    fn drop(&mut self) {
        match &self.before {
            Some(value) => std::env::set_var(self.name, value),
            None => std::env::remove_var(self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_as_it_was_afterwards() {
        const NAME: &str = "LOCKSTEP_TEST_OF_A_VARIABLE";
        let first = Variable::prefer(NAME, "first");
        assert!(Variable::prefer(NAME, "second").is_none());
        let second = Variable::set(NAME, "second");
        assert_eq!(std::env::var(NAME).as_deref(), Ok("second"));
        drop(second);
        assert_eq!(std::env::var(NAME).as_deref(), Ok("first"));
        drop(first);
        assert!(std::env::var_os(NAME).is_none());
    }
}
