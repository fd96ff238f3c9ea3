//! twcc
