"""The storage engine: bytes over S3 (`s3`), buckets and listings over REST (`control`)."""
