package orders

import "github.com/tandem-hybrid/tandem/internal/compare"

func expected() []compare.Expectation { return nil }

// Judge says what the cells mean.
func (Scenario) Judge(cells []compare.Cell) compare.Verdict { return compare.Verdict{} }
