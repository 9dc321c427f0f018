//! Pages without code, for questions that more than one type answers.
//!
//! | page | question |
//! |---|---|
//! | [`products`] | Which 免密 or 代扣 product do you have? |
//! | [`keys`] | Which key is which, and how are they rotated? |
//! | [`integrations`] | How does it fit into async services, logs, metrics and pre-forking servers? |
//! | [`security`] | What is guaranteed, and what is not? |
//! | [`Outcome`](crate::Outcome) | Which failure means what, and what is next? |
//! | [`sandbox`](crate::sandbox) | How is an integration tested? |
//! | [`order`](crate::order) | How is an order placed, paid, closed and refunded? |

pub mod integrations;
pub mod keys;
pub mod products;
pub mod security;
