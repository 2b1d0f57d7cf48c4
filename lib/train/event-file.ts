/**
 * TensorBoard's event files, written without its libraries: a TFRecord a message, each message a protocol buffer `Event`.
 *   record: uint64 length, uint32 masked CRC-32C of the length, the bytes, uint32 masked CRC-32C of the bytes; little-endian
 *   Event: 1 wall_time double, 2 step int64, 3 file_version string, 5 summary, 7 session_log
 *   Summary: 1 value (repeated); Value: 1 tag string, 2 simple_value float; SessionLog: 1 status (1: START)
 * Sources: tensorflow/core/lib/io/record_writer.cc, tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto.
 * No package in npm that writes them was found kept.
 */

/** The first event of a file. */
export function versionEvent(wallTime: number): Buffer {
  return record(event(wallTime, 0, bytesField(3, Buffer.from('brain.Event:2'))));
}

/** Tells readers to forget what earlier files of the folder say of `step` and later ones: a run that was resumed goes on there. */
export function startEvent(wallTime: number, step: number): Buffer {
  return record(event(wallTime, step, bytesField(7, numberField(1, 1))));
}

/** Scalars of one step by tag. */
export function scalarsEvent(
  wallTime: number,
  step: number,
  scalars: Readonly<Record<string, number>>,
): Buffer {
  const values = Object.entries(scalars).map(([tag, value]) => {
    const single = Buffer.alloc(5);
    single.writeUInt8((2 << 3) | 5); // field 2, 32 bits
    single.writeFloatLE(value, 1);
    return bytesField(1, Buffer.concat([bytesField(1, Buffer.from(tag)), single]));
  });
  return record(event(wallTime, step, bytesField(5, Buffer.concat(values))));
}

/** `wallTime` in seconds since 1970. */
function event(wallTime: number, step: number, what: Buffer): Buffer {
  const time = Buffer.alloc(9);
  time.writeUInt8((1 << 3) | 1); // field 1, 64 bits
  time.writeDoubleLE(wallTime, 1);
  return Buffer.concat([time, step === 0 ? Buffer.alloc(0) : numberField(2, step), what]);
}

function record(data: Buffer): Buffer {
  const [head, tail] = [Buffer.alloc(12), Buffer.alloc(4)];
  head.writeBigUInt64LE(BigInt(data.length));
  head.writeUInt32LE(maskedCrc(head.subarray(0, 8)), 8);
  tail.writeUInt32LE(maskedCrc(data));
  return Buffer.concat([head, data, tail]);
}

function numberField(field: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([field << 3]), varint(value)]);
}

function bytesField(field: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(field << 3) | 2]), varint(bytes.length), bytes]);
}

/** Seven bits a byte, lowest first; whole numbers up to 2^53. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** A CRC of data that hold CRCs of their own is masked (record_writer.cc). */
function maskedCrc(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Castagnoli's polynomial, reflected. */
const polynomial = 0x82f63b78;
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
  return crc;
});

/** CRC-32C (RFC 3720, appendix B.4): zlib's is of another polynomial. */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] as number);
  return (crc ^ 0xffffffff) >>> 0;
}
