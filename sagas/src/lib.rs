//! Definitions, and the fermata binary that links them.
