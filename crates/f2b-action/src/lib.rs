//! Actions: tag templates, the shell runner, the life cycle of an action.
