//! TLogFS
