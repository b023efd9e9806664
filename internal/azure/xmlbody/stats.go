package xmlbody

import "time"

// AppendServiceStats appends the body of Get Blob Service Stats: how far the copy that the secondary address shows has come.
func AppendServiceStats(dst []byte, status string, lastSync time.Time) []byte {
	dst = append(dst, prolog+"<StorageServiceStats><GeoReplication><Status>"...)
	dst = append(dst, status...)
	dst = append(dst, "</Status>"...)
	dst = appendTime(dst, "LastSyncTime", lastSync)
	return append(dst, "</GeoReplication></StorageServiceStats>"...)
}
