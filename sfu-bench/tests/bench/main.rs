//! The load tester as a program, against the real server as another: small loads, and what goes wrong with them.

mod faults;
mod harness;
mod interrupted;
mod limit;
mod loads;
mod quick;
mod reports;
mod scenarios;
