/** Watch whether the page is not visible at some time; the function that is returned tells, and ends the watch. */
export function watchHidden() {
  let hidden = document.hidden;
  const look = () => (hidden ||= document.hidden);
  document.addEventListener("visibilitychange", look);
  return () => {
    document.removeEventListener("visibilitychange", look);
    return hidden;
  };
}
