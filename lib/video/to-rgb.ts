/**
 * Filters from what a decoder gives to 8-bit RGB. Standard video: swscale's conversion with the matrix and range that the video
 * names (BT.601, limited, where it names none); alpha is dropped as for images. HDR (PQ or HLG) is brought to BT.709 by
 * zscale and a Hable curve with a peak of 100 nits, without desaturation: it looks as a player on a plain screen shows it.
 */
const hdrTransfers = ['smpte2084', 'arib-std-b67'];

const hdrToRgb = [
  'zscale=t=linear:npl=100',
  'format=gbrpf32le',
  'zscale=p=bt709',
  'tonemap=tonemap=hable:desat=0',
  'zscale=t=bt709:m=gbr:r=full',
];

/** `transfer` as ffmpeg names it. */
export function toRgb(transfer: string): string[] {
  return [...(hdrTransfers.includes(transfer) ? hdrToRgb : []), 'format=rgb24'];
}
