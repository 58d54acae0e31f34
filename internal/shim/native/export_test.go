package native

// Beyond tells why a container is handed over.
var Beyond = beyond
