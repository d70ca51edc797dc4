/** Ends every answer of the bench's upstream and stands nowhere else in it. */
export const bodyMarker = '<!--the end-->';
