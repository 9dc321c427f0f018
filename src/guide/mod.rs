//! Pages on topics that concern several types.
//!
//! | page | topic |
//! |---|---|
//! | [`products`] | the 免密 and 代扣 products, and how to tell them apart |
//! | [`keys`] | the keys, their files and their rotation |
//! | [`integrations`] | async services, logs, metrics, pre-forking servers |
//! | [`security`] | the guarantees, and their limits |
//! | [`Outcome`](crate::Outcome) | each failure, its meaning, and what to do next |
//! | [`sandbox`](crate::sandbox) | tests of an integration |
//! | [`order`](crate::order) | orders: placed, paid, closed and refunded |

pub mod integrations;
pub mod keys;
pub mod products;
pub mod security;
