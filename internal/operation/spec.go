package operation

import "github.com/tandem-hybrid/tandem"

// Spec says which events end an operation. It is the type of the root package, since the gateway names it, too.
type Spec = tandem.OperationSpec
