// Package operation keeps operations: the tokens that clients hold for work that goes on after the response.
package operation
