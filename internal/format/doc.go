// Package format brings in lists that others publish, and turns what they say into the nouns of Enlace.
//
// It owns the readers of foreign forms: that of the list of Specially Designated Nationals of the United States
// Treasury's Office of Foreign Assets Control (OFAC), as headerless CSV. It never stores or sends anything and opens
// no connection: bytes come from an fs.FS that the caller hands in. The demo and the import of alerts call it.
//
// What goes in is four files of one folder: sdn.csv (one entry a line), add.csv (addresses), alt.csv (other names) and
// sdn_comments.csv (what did not fit into 1,000 characters of remarks, to be put right behind them). They are joined by
// the entry's number. A field without value is "-0-"; a last byte 0x1A is an end-of-file mark. Text is UTF-8.
//
// What comes out is an [Entry] with everything as written, and from it typed subjects of enlace.format.v1 with the
// attributes registered in the list subject-attributes (domain.md 8). Nothing is dropped: what no rule understands
// stays, word for word, as an attribute "description".
//
// What is known about the foreign list is data, not code: data/remarks.csv (beginning of a remark to attribute),
// data/programmes.csv (sanctions programme to crime category), data/countries.csv (country name to ISO 3166 alpha-2).
package format
