// Package origin is a service where something happens that others want to know: a change, a page view, a position. It stores it, if it is
// asked to, tells the others in one of a few styles, and answers. Start starts one in a trial, with those who want to know.
package origin
