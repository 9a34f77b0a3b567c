// Package process runs small systems as child processes of the same binary: a Tandem server, and plain HTTP services around
// it, each on a port of its own on loopback. A child that dies is started again; one can be killed or held down on purpose.
//
// Group.Stop ends all children and waits for them. Should the parent be killed, they end by themselves: their standard
// input closes and, on Linux, the kernel kills them.
package process
