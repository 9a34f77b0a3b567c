package process

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"

	"github.com/tandem-hybrid/tandem"
)

// Ports are chosen below those that systems give to outgoing connections (from 32768 on Linux), so that nobody takes
// the port of a child while it is down.
const portsFrom, portsTo = 20000, 32000

// freeAddr returns an address on loopback that nobody listens on and that is not in taken, to which it adds it.
func freeAddr(taken map[string]bool) (string, error) {
	for range 200 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(portsFrom+rand.IntN(portsTo-portsFrom)))
		if !taken[addr] && isFree(addr) {
			taken[addr] = true
			return addr, nil
		}
	}
	return "", errors.New("no free port on 127.0.0.1")
}

func isFree(addr string) bool {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// chooseAddr returns the address that was asked for, with a free port for port 0; or, when nothing was asked for, the
// usual one if it is free.
func chooseAddr(asked, usual string, taken map[string]bool) (string, error) {
	if asked == "" && !taken[usual] && isFree(usual) {
		taken[usual] = true
		return usual, nil
	}
	if asked != "" {
		host, port, err := net.SplitHostPort(asked)
		if err != nil {
			return "", &tandem.Error{Code: tandem.CodeInvalid, Err: err}
		}
		if port != "0" {
			return asked, nil
		}
		if host != "127.0.0.1" && host != "localhost" {
			return "", tandem.Errorf(tandem.CodeInvalid, "%s: a free port is chosen on 127.0.0.1 only", asked)
		}
	}
	return freeAddr(taken)
}
