//! `HYDROVU`: the readings of water instruments, from the HydroVu web service.

mod address;
mod device;
mod http;
mod merge;
mod model;
mod retry;
mod run;
mod service;
mod settings;
mod skips;
mod store;
#[cfg(test)]
mod tests;
mod token;
