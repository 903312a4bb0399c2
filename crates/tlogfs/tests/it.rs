//! The store on a real disk: what it keeps, what it refuses, and what it makes of damage.

mod support;

mod basics;
mod damage;
mod python;
mod speed;
mod upkeep;
