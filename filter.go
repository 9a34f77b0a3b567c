package tandem

// Filter is a compiled CloudEvents filter (CloudEvents Subscriptions 1.0, section 3.2.4): the dialects exact, prefix,
// suffix, all, any and not.
type Filter struct{}
