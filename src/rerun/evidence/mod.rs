//! What is handed on.
