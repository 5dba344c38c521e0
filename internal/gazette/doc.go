// Package gazette writes the directory as one HTML file made for print: what a focal point keeps in a drawer for the day
// when nothing else works.
//
// [Write] takes an [Issue], words that somebody else has looked up, and gives a page that needs nothing: no script, no
// font, no picture, no address to fetch from. It says on the first page, and in the foot of every one, whose directory it is, of which
// position, which head and which time, how fresh that was, and that it is TLP:AMBER. Every text is escaped: a name is a name, whatever is in
// it. The fixed words are in four languages and lie in words.csv.
//
// The room is pure: it reads no clock, opens nothing, asks nobody, and decides nothing of who may read what: what is not
// to be printed is not to be in the issue. The same issue gives the same bytes.
package gazette
