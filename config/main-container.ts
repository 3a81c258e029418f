export async function container() {}
