package replication

// placeWriters returns which members write the next segment.
func (l *Log) placeWriters(ms *membership, must Set) Set { return ms.written() }
