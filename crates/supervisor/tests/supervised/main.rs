//! Whole apps through the handle, with real processes: started, killed, rolled, scaled, stopped. The data plane is a
//! task that writes down what it is told. Every test ends with the proof that nothing of it is left.

mod change;
mod end;
mod fall;
mod roll;
mod stand;
mod verbs;
