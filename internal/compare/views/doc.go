// Package views is the scenario of page views: three services want to know of each, and the reader of the page wants none of it. It measures what
// telling them adds to the page: by calls, by an event that is durable before the page is shown, and by one that is only accepted.
package views
