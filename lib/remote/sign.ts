/** Requests to S3 and what speaks its protocol: the URL of an object, and its signature from the environment's credentials. */
import { AwsV4Signer } from 'aws4fetch';

export interface SignedRequest {
  readonly url: string;
  readonly headers: Headers;
}

/**
 * The request for a URL. `s3://BUCKET/KEY` is asked of AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL (as ENDPOINT/BUCKET/KEY), else of
 * Amazon's address in AWS_REGION, and signed where AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set. Others stay as they are.
 */
export async function signedRequest(url: URL, headers: Headers): Promise<SignedRequest> {
  if (url.protocol !== 's3:') return { url: url.href, headers };
  const object = objectUrl(url);
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: token } = process.env;
  if (!id || !secret) return { url: object, headers };
  const signed = await new AwsV4Signer({
    url: object,
    headers,
    accessKeyId: id,
    secretAccessKey: secret,
    ...(token ? { sessionToken: token } : {}),
    service: 's3',
    region: region(),
  }).sign();
  return { url: signed.url.href, headers: signed.headers };
}

function objectUrl({ hostname: bucket, pathname }: URL): string {
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env;
  const endpoint = AWS_ENDPOINT_URL_S3 || AWS_ENDPOINT_URL;
  if (endpoint) return `${endpoint.replace(/\/+$/, '')}/${bucket}${pathname}`;
  // A dot in a bucket's name does not fit Amazon's certificate.
  return bucket.includes('.')
    ? `https://s3.${region()}.amazonaws.com/${bucket}${pathname}`
    : `https://${bucket}.s3.${region()}.amazonaws.com${pathname}`;
}

function region(): string {
  return process.env['AWS_REGION'] || process.env['AWS_DEFAULT_REGION'] || 'us-east-1';
}
