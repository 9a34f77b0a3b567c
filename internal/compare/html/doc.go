// Package html writes the report of `tandem compare` as one page: a file without scripts that loads nothing, may load nothing (its content
// security policy says so), and reads the same from a disk, in print, in the light and in the dark, on a phone and without eyes.
//
// Plots are drawn here as SVG, and each has its figures in a table beside it. A style has one colour on the whole page. What was not measured
// is a dash, never a zero; a cell that was not reachable says so and has no latency.
package html
