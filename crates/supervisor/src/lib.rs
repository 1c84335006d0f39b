//! The app's processes: started, made ready, watched, rolled and stopped. Knows nothing of the proxy: it publishes
//! which instances can be reached, and asks for one to be emptied before it stops it.

pub mod wish;
