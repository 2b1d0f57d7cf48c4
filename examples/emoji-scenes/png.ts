/**
 * RGB bytes as a PNG. Written out because a scene is tiny: starting a pipeline of sharp for it costs ten times the work.
 * Format: PNG specification, third edition (W3C), sections 5 and 11.
 */
import { crc32, deflateSync } from 'node:zlib';

const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** Length, type, body, checksum of type and body. */
function chunk(type: string, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(body.length + 12);
  bytes.writeUInt32BE(body.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(body, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, body.length + 8)), body.length + 8);
  return bytes;
}

/**
 * Encodes an image without loss, lightly compressed.
 * @param data RGB, row-major, 3 * width * height bytes
 */
export function encodePng(data: Uint8Array, width: number, height: number): Buffer {
  const header = Buffer.alloc(13); // then: compression, filter method and interlace 0
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 8; // bits a channel
  header[9] = 2; // color type RGB
  const stride = 3 * width;
  const rows = Buffer.alloc((stride + 1) * height); // each row begins with its filter, 0: none
  for (let y = 0; y < height; y++)
    rows.set(data.subarray(y * stride, (y + 1) * stride), y * (stride + 1) + 1);
  const body = deflateSync(rows, { level: 1 });
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', body),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}
