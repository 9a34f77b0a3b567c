// Package gateway serves the public listener: the routes of the configuration and nothing else.
package gateway
