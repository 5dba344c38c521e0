// Package catalog says which categories and legal instruments hold now, and what they are called: the registers of the
// directory laid over the lists that the program ships with. So a category, a treaty or a label needs a statement of the
// stewards and no new release.
//
// Where the directory registers no categories, the shipped list of them holds, and so with instruments; where it
// registers any, its list is the whole one for what is newly said ([Now]). What was said before stays readable under any
// code that was ever shipped or registered ([All]). Either way the directory's titles come before shipped ones.
// PROTOCOL 4.18.
//
// The room is pure and keeps nothing: a view goes in, lists come out, which are good for as long as the view is.
package catalog
