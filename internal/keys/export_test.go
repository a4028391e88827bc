package keys

// Check is the last look at a set before it is stored.
var Check = check
