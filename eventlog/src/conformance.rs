//! The suite every log must pass.
