// Package format brings in lists that others publish, and turns what they say into the nouns of Enlace.
//
// It owns the readers of foreign forms: that of the list of Specially Designated Nationals of the United States
// Treasury's Office of Foreign Assets Control (OFAC), as headerless CSV, and the table of alerts, for spreadsheets and
// for agencies' own programs. It never stores or sends anything and opens no connection: bytes come from an fs.FS or a
// reader that the caller hands in. The demo and the import and export of alerts call it. What it makes is a draft:
// whether an alert may be sent is said by message.CheckAlert.
//
// # The OFAC list
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
// data/programmes.csv (sanctions programme to crime category and law), data/countries.csv (country name to ISO 3166
// alpha-2).
//
// # The table of alerts
//
// The table is CSV by RFC 4180, UTF-8 with or without a byte order mark, with commas, or with semicolons where the
// header has more of them. The first row names the columns, those of [AlertColumns] in any order; only "alert" must be
// there. It holds at most 256 MiB, a row at most 64 KiB.
//
// "alert" numbers the alerts: positive, ascending. Rows with one number follow each other and are one alert with several
// subjects, one a row; what is said of the alert stands in its first row, and in further rows again or not at all.
// category, urgency, status and distribution must be filled in, for nothing is guessed about them; everything else may
// be empty, and message.CheckAlert says what is missing. An empty "expires" leaves the life of the alert to the issuer.
//
// Times are RFC 3339, or a date. Lists (states, handling, legal_basis, ...) are parted by "|". Three columns hold items
// parted by "|": attributes "name/kind/country=value~note", texts "language/translation=title~summary", places
// "state/kind/latitude/longitude/precision=name~region"; parts at the end of a path may be left out. A backslash takes
// the next of \ | ~ = / as it is. TLP "WHITE" is read as CLEAR.
//
// A cell that a spreadsheet could take for a formula is written with an apostrophe before it, which reading takes away.
package format
