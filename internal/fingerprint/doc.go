// Package fingerprint makes fingerprints into words that two people compare over a telephone, and words into
// fingerprints again.
//
// A fingerprint is 32 bytes: of a network, of a key, of a statement. Read as 64 digits it is misheard; as 24 words of a
// list that was made for being read aloud it is not: no two words of a list begin with the same four letters, and the last
// word carries a checksum of eight bits. The words are those of BIP-39, which fixes lists and checksum; a BIP-39 program of
// anybody else says the same words for the same bytes. They say a public value: nothing of it is secret, and no key is made
// from it.
//
// There are lists in English, Spanish and French. The library has no Portuguese list: who asks for Portuguese gets the
// Spanish one, and List says so.
//
// Words are read in any of the lists, in whatever case, with or without accents, with anything that is not a letter between
// them. Errors name the word that is in no list, or say that the words do not fit together.
package fingerprint
