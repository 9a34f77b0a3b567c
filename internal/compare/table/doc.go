// Package table writes the report of `tandem compare` for a terminal: the same figures as on the page, aligned, as many columns as there is
// room for, and readable at 80. A column that shows something nobody wants is never left out, and what is left out is named.
package table
