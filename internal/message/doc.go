// Package message is what authorities say to each other: the header of an envelope, requests and their answers,
// receipts, and the rules that need no machine to check them.
//
// It owns the message ID, the kinds of message, audiences and subjects of alerts, the states of a request and who may
// move them, the limits of size, the deadlines by urgency, the lists of codes in four languages, and the check of a
// draft before it is sent. It never touches storage, cryptography, the network or a clock: times and randomness are
// handed in.
//
// Content items (request, ask, subject, answer, ...) are used in their signed form, the messages of
// enlace.format.v1: they are made once, signed, and never rebuilt, so a second set of structs would only be a second
// place to be wrong. Headers and receipts, on which rules decide, are parsed into nouns with typed fields.
//
// Source: domain.md 4 to 9; bytes: PROTOCOL 5, 7 and 8.
package message
