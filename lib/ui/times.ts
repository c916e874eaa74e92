/**
 * Times for people, in their zone: `12`, `24` hours or `off`.
 */

export type TimeForm = "12" | "24" | "off";

export class Times {
  constructor(readonly form: TimeForm = "24") {}

  /** Hours and minutes, empty when off. The other end chooses `at`, so it may be no time at all. */
  clock(at: number): string {
    if (this.form === "off") return "";
    const date = new Date(at);
    const [hours, minutes] = [date.getHours(), date.getMinutes()];
    if (Number.isNaN(hours)) return this.form === "24" ? "--:--" : "--:--   ";
    const padded = (value: number) => String(value).padStart(2, "0");
    if (this.form === "24") return `${padded(hours)}:${padded(minutes)}`;
    return `${String(hours % 12 || 12).padStart(2)}:${padded(minutes)} ${hours < 12 ? "am" : "pm"}`;
  }

  /** The day too, where it is not today. */
  stamp(at: number): string {
    const day = this.day(at);
    const shown = day === this.day(Date.now()) || day === "" ? "" : `${day.replace(/^.*?, /, "")} `;
    return (shown + this.clock(at)).trim();
  }

  /** `Friday, 2 January 2026`; empty for no time at all. */
  day(at: number): string {
    const date = new Date(at);
    if (Number.isNaN(date.getTime())) return "";
    return `${days[date.getDay()]}, ${date.getDate()} ${months[date.getMonth()]} ${date.getFullYear()}`;
  }
}

const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const months = "January February March April May June July August September October November December".split(" ");

/** `3 s`, `12 min`, `5 h`, `2 d`. */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}
