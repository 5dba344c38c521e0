// Package authority holds the names of the network and its public keys.
//
// A name (state, authority, node, category, request kind, lane, language) is a value of its own type with hidden
// fields. Only the Parse functions make one, so whoever holds a name holds a well-formed one; whether it is
// registered is asked of the directory snapshot. Names are comparable and may be map keys.
//
// A public key verifies detached signatures over the DSSE pre-authentication encoding of a purpose label and the
// signed bytes. Private keys live in room keyring alone.
//
// Forms: PROTOCOL 2 (names) and 3 (keys, labels, TLS identities).
package authority
