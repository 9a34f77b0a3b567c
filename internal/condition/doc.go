// Package condition compiles the conditions of filters: CESQL (CloudEvents SQL Expression Language 1.0), which sees the
// attributes of an event, and CEL, which sees its data, too. See docs/filters.md for both.
//
// A text is compiled once and refused with the line and column where it is wrong. Its length, depth and, for CEL, the size of its
// regular expressions and the cost of an evaluation are limited, so that a text from anybody can be compiled and evaluated.
// An event that a condition cannot judge does not match. No text and no event ends the process.
//
// CESQL is read and evaluated here, with the specification's reference implementation as the oracle of a test: that one gives
// no positions, makes an event of its own type for each evaluation, and panics on some texts.
//
// implied.go is what an index needs: the attributes that every matching event has.
//
// The package starts no goroutine and remembers, beside what it compiled, one event's data of at most 1 MiB.
package condition
