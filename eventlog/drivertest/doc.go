// Package drivertest is the one conformance suite for engines: what package driver promises, as tests. An engine is done
// when Run passes; capabilities that it declares in driver.Info select the tests, and what a Harness can do beyond opening
// an engine (reopen it, stall its syncing, move its clock) adds those that need it.
//
//	func TestConformance(t *testing.T) {
//		drivertest.Run(t, drivertest.Harness{Open: func(t testing.TB) driver.Driver { return memlog.New(memlog.Options{}) }})
//	}
//
// The suite closes what it opens and leaves no goroutine behind.
package drivertest
